# The lab's targets, included by the Makefile. LAB_NAME and LAB_NETWORK make another lab beside the first.
LAB_NAME ?= bmk
LAB_NETWORK ?= 10.77.0.0/16
LAB_PLAY = ansible-playbook -i $(INVENTORY) $(if $(filter-out bmk,$(LAB_NAME)),-e lab_name=$(LAB_NAME)) \
  $(if $(filter-out 10.77.0.0/16,$(LAB_NETWORK)),-e lab_network=$(LAB_NETWORK))

.PHONY: lab
lab: lab-machines ## A real cluster on this machine: racks, routers, 3 control planes, 2 workers
	$(LAB_PLAY) bare_metal.kubernetes.site
	$(LAB_PLAY) molecule/default/kubeconfig.yml
	$(LAB_PLAY) molecule/default/status.yml

.PHONY: lab-machines
lab-machines: setup ## The lab's machines and network only, without a cluster
	$(LAB_PLAY) molecule/default/create.yml

.PHONY: lab-status
lab-status: setup ## What stands: machines, BGP sessions, nodes, addresses, kubeconfig
	@$(LAB_PLAY) molecule/default/status.yml

.PHONY: lab-down
lab-down: setup ## Remove the lab and put the host's kernel parameters back
	$(LAB_PLAY) molecule/default/destroy.yml
