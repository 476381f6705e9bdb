module bundle.invalid/echo-server

go 1.26.0
