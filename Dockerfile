# All images of this project, one target each: `npm run images` builds them with docker, podman or buildah.
#   controller-manager  gateway-plugins  runtime  mock-engine
#   runtime-dev, vllm-mock, dev-services: for a cluster on one machine, with a Hub of its own
# The end images hold Node, the libraries that it is linked to, and one program bundled with its libraries: no shell, no package
# manager. They run as user 65532 with a read-only root; what a program writes goes to /tmp or to a volume.
ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim

# Every program, compiled and bundled with the libraries that it uses: a tree to put over the root, with its command on PATH.
# The build gets two secrets, both optional: npmrc (registry, proxy) and ca (a certificate bundle in PEM).
FROM ${NODE_IMAGE} AS programs
# BuildKit's SBOM takes this stage in: its lockfile says what the bundles hold, and they themselves do not.
ARG BUILDKIT_SBOM_SCAN_STAGE=true
ENV CI=true \
    NODE_EXTRA_CA_CERTS=/run/secrets/ca \
    NPM_CONFIG_USERCONFIG=/run/secrets/npmrc \
    PATH=/opt/pnpm/node_modules/.bin:$PATH \
    SSL_CERT_FILE=/opt/ca.pem
WORKDIR /src
COPY package.json ./
# pnpm reads certificates from the system, and the slim image has none: it gets those that Node trusts.
RUN --mount=type=secret,id=npmrc,target=/run/secrets/npmrc --mount=type=secret,id=ca,target=/run/secrets/ca \
    node -e 'require("fs").writeFileSync("/opt/ca.pem", require("tls").getCACertificates("default").join("\n"))' \
    && version="$(node -p 'require("./package.json").packageManager.split("@")[1]')" \
    && npm install --prefix /opt/pnpm --no-audit --no-fund --no-update-notifier "pnpm@$version"
COPY pnpm-lock.yaml pnpm-workspace.yaml rolldown.config.ts tsconfig.base.json ./
COPY packages packages
# What was fetched stays in a cache for the next build; what only this build needs is gone before the layer is written.
RUN --mount=type=secret,id=npmrc,target=/run/secrets/npmrc --mount=type=secret,id=ca,target=/run/secrets/ca \
    --mount=type=cache,id=aibrix-pnpm,target=/pnpm-store \
    pnpm config set store-dir /pnpm-store --location=global \
    && pnpm install --frozen-lockfile --prefer-offline \
    && ./node_modules/.bin/tsc -b packages/controller packages/gateway packages/runtime packages/mock-engine \
       packages/dev-services \
    && OUT=/out ./node_modules/.bin/rolldown -c \
    && for program in controller:aibrix_controller_manager gateway:aibrix_gateway_plugins runtime:aibrix_runtime \
         mock-engine:aibrix_mock_engine dev-services:aibrix_dev_services; do \
         name="${program%%:*}" \
         && chmod 0755 "/out/$name/app/main.mjs" \
         && mkdir -p "/out/$name/usr/local/bin" \
         && ln -s /app/main.mjs "/out/$name/usr/local/bin/${program##*:}" \
         || exit 1; \
       done \
    && ln -s /app/download.mjs /out/runtime/usr/local/bin/aibrix_download \
    && mkdir -p /out/vllm-mock/usr/local/bin \
    && ln -s /app/vllm.mjs /out/vllm-mock/usr/local/bin/python3 \
    && ln -s /app/vllm.mjs /out/vllm-mock/usr/local/bin/vllm \
    && chmod 0755 /out/mock-engine/app/vllm.mjs /out/runtime/app/download.mjs \
    && rm -rf node_modules packages

# What Node needs from the system, and nothing else. `dpkg -s` writes down whose files they are, for those who scan images.
FROM ${NODE_IMAGE} AS rootfs
RUN mkdir -p /rootfs/etc /rootfs/tmp /rootfs/usr/bin /rootfs/usr/local/bin /rootfs/var/lib/dpkg/status.d \
    && chmod 1777 /rootfs/tmp \
    && cp /usr/local/bin/node /rootfs/usr/local/bin/ \
    && cp /usr/bin/env /rootfs/usr/bin/ \
    && ldd /usr/local/bin/node /usr/bin/env > /tmp/linked \
    && grep -o '/[^ ]*\.so[^ ]*' /tmp/linked > /tmp/libraries \
    && xargs -a /tmp/libraries -I{} cp -L --parents {} /rootfs \
    && cp /etc/os-release /etc/debian_version /rootfs/etc/ \
    && for name in libc6 libgcc-s1 libstdc++6 coreutils; do dpkg -s "$name" > "/rootfs/var/lib/dpkg/status.d/$name" || exit 1; done \
    && echo 'hosts: files dns' > /rootfs/etc/nsswitch.conf \
    && echo 'root:x:0:' > /rootfs/etc/group \
    && echo 'nonroot:x:65532:' >> /rootfs/etc/group \
    && echo 'root:x:0:0:root:/root:/sbin/nologin' > /rootfs/etc/passwd \
    && echo 'nonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin' >> /rootfs/etc/passwd

FROM scratch AS base
COPY --from=rootfs /rootfs /
ENV HOME=/tmp \
    NODE_ENV=production \
    PATH=/usr/local/bin:/usr/bin
WORKDIR /app
USER 65532:65532
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM base AS controller-manager
LABEL org.opencontainers.image.title="aibrix/controller-manager" \
      org.opencontainers.image.description="Keeps every ModelAdapter loaded in matching pods"
COPY --from=programs /out/controller /
EXPOSE 8081
ENTRYPOINT ["aibrix_controller_manager"]

FROM base AS gateway-plugins
LABEL org.opencontainers.image.title="aibrix/gateway-plugins" \
      org.opencontainers.image.description="Names to Envoy the pod that serves a request's model"
COPY --from=programs /out/gateway /
EXPOSE 50052 8080
ENTRYPOINT ["aibrix_gateway_plugins"]

FROM base AS runtime
LABEL org.opencontainers.image.title="aibrix/runtime" \
      org.opencontainers.image.description="Downloads, checks and loads adapters into the engine of its pod"
COPY --from=programs /out/runtime /
EXPOSE 8080
ENTRYPOINT ["aibrix_runtime"]

FROM runtime AS runtime-dev
ARG HF_ENDPOINT=https://huggingface.co
ENV HF_ENDPOINT=${HF_ENDPOINT}

FROM base AS mock-engine
LABEL org.opencontainers.image.title="aibrix/mock-engine" \
      org.opencontainers.image.description="The HTTP surface of vLLM without a model"
COPY --from=programs /out/mock-engine /
EXPOSE 8000
ENTRYPOINT ["aibrix_mock_engine"]

# In the place of vLLM's image: `python3 -m vllm.entrypoints.openai.api_server` and `vllm serve` start the mock engine.
FROM mock-engine AS vllm-mock
COPY --from=programs /out/vllm-mock /
ARG HF_ENDPOINT=https://huggingface.co
ENV HF_ENDPOINT=${HF_ENDPOINT}
ENTRYPOINT ["vllm", "serve"]

FROM base AS dev-services
LABEL org.opencontainers.image.title="aibrix/dev-services" \
      org.opencontainers.image.description="A Hub and content for S3, for development"
COPY --from=programs /out/dev-services /
ENTRYPOINT ["aibrix_dev_services"]
