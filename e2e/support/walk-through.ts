/** The documented request of a completion, as it is printed, in a shell that knows `ENDPOINT`. */
export function printedRequest(model: string): string {
  return `curl -v http://\${ENDPOINT}/v1/completions \\
    -H "Content-Type: application/json" \\
    -d '{
        "model": "${model}",
        "prompt": "San Francisco is a",
        "max_tokens": 128,
        "temperature": 0
    }'`;
}
