module bundle.invalid/pause

go 1.26.0
