module aibrix-lora/pause

go 1.24
