/** The present, renewed twice a minute: relative times read it. */
class Present {
  now = $state(Date.now());

  constructor() {
    setInterval(() => {
      if (!document.hidden) this.now = Date.now();
    }, 30_000);
  }
}

export const minute = new Present();
