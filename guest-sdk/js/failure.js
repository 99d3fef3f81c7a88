/**
 * A task's own failure: throw it, and the sender gets it instead of a result. Any other exception becomes one with the
 * code TASK_FAILED, with its stack in the attempt's log.
 */
export class Failure extends Error {
  /**
   * @param {string} code SCREAMING_SNAKE_CASE; the host refuses its own codes from a task
   * @param {string} message for people
   */
  constructor(code, message) {
    super(message);
    this.name = "Failure";
    this.code = code;
    this.data = undefined;
    this.retry = { tag: "by-policy" };
  }

  /** The same failure, never retried. */
  never() {
    this.retry = { tag: "never" };
    return this;
  }

  /** The same failure, retried after so many milliseconds while the policy has retries left. */
  retryAfter(ms) {
    if (!Number.isFinite(ms) || ms < 0) throw new TypeError(`a failure cannot be retried after ${ms} ms`);
    this.retry = { tag: "after-ms", val: Math.min(Math.round(ms), Number.MAX_SAFE_INTEGER) };
    return this;
  }

  /** The same failure with data for programs: anything that can be JSON. */
  withData(data) {
    this.data = data;
    return this;
  }

  /** The failure that an exception stands for. */
  static of(error) {
    if (error instanceof Failure) return error;
    const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return new Failure("TASK_FAILED", message);
  }
}
