const FRAMES = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏';

/**
 * One line per step, with the time it took: `✓ npm packages  12.3 s`. On a terminal the running step has a
 * spinner. Everything goes to standard error, so that standard output stays what the command prints.
 */
export function createProgress(stream = process.stderr) {
  const isTerminal = stream.isTTY === true;

  return {
    /** Runs `work`, which may change the shown text by calling its argument. */
    async step(title, work) {
      const startedAt = performance.now();
      let text = title;
      const seconds = () => ((performance.now() - startedAt) / 1000).toFixed(1);
      let frame = 0;
      const draw = () => {
        frame = (frame + 1) % FRAMES.length;
        stream.write(`\r\x1b[K${FRAMES[frame]} ${text}  ${seconds()} s`);
      };
      const timer = isTerminal ? setInterval(draw, 100) : undefined;
      if (!isTerminal) stream.write(`… ${title}\n`);
      const finish = (mark) => {
        clearInterval(timer);
        stream.write(`${isTerminal ? '\r\x1b[K' : ''}${mark} ${text}  ${seconds()} s\n`);
      };
      try {
        const result = await work((newText) => {
          text = newText;
        });
        finish('✓');
        return result;
      } catch (error) {
        finish('✗');
        throw error;
      }
    },

    note(text) {
      stream.write(`${text}\n`);
    },
  };
}
