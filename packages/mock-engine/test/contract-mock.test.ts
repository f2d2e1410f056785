import { engineContract } from "./contract.ts";
import { mockTarget } from "./target-mock.ts";

engineContract(mockTarget);
