module aibrix-lora/s5cmd

go 1.26

require github.com/peak/s5cmd/v2 v2.3.0
