module aibrix-lora/envoy-gateway

go 1.26.7

require (
	github.com/envoyproxy/gateway v1.9.1
	helm.sh/helm/v3 v3.21.4
)
