/** A command line that cannot be used; the message says what to write instead. The program prints it and exits with 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Something that the user can mend: the message holds the cause and the remedy. The program prints it alone and exits with 1. */
export class StackError extends Error {
  override readonly name: string = "StackError";
}

/** A port that was free when it was chosen was taken by another program before the part could listen on it. */
export class PortTakenError extends StackError {
  override readonly name = "PortTakenError";
}
