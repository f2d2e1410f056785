/**
 * What is wrong with the variables that name endpoints of storage, and proxies. The endpoints are shown in messages, so a password has no
 * place in them; that of a proxy is its only place, so its value is not shown.
 */
export function endpointProblems(env: NodeJS.ProcessEnv): readonly string[] {
  const hub = env.HF_ENDPOINT ?? "";
  const endpoints = [
    { name: "HF_ENDPOINT", instead: "give the Hub's token in HF_TOKEN" },
    { name: "AWS_ENDPOINT_URL", instead: "give keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" },
    { name: "AWS_ENDPOINT_URL_S3", instead: "give keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" },
    { name: "STORAGE_EMULATOR_HOST", instead: "write the host and its port alone" },
  ];
  return [
    ...endpoints.flatMap(({ name, instead }) => (hasUserInfo(env[name] ?? "") ? [userInfoProblem(name, instead)] : [])),
    ...(hub !== "" && !hasUserInfo(hub) && !isHttpUrl(hub) ? [`HF_ENDPOINT=${hub}: write a URL such as https://huggingface.co`] : []),
    ...["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"].flatMap((name) =>
      env[name] && !isHttpUrl(env[name]) ? [`${name} is no URL: write one such as http://proxy.example.com:3128`] : [],
    ),
  ];
}

export function hasUserInfo(text: string): boolean {
  return /^([a-z][a-z0-9+.-]*:\/\/)?[^/?#]*@/i.test(text);
}

export function userInfoProblem(name: string, instead: string): string {
  return `${name} holds a user name or a password, which statuses and logs would show: take them out, and ${instead}`;
}

export function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && ["http:", "https:"].includes(new URL(text).protocol);
}
