import { startHub } from "@aibrix/devcluster";

/* The local Hub as a process of its own, so that it takes no time from whoever measures. */

const [root = "."] = process.argv.slice(2);
const hub = await startHub({ root });
process.on("disconnect", () => void hub.close());
process.send?.(hub.url);
