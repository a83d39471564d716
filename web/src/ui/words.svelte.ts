/** The few words that the shared components say themselves; the entry's catalogue sets them. */

export interface UiWords {
  cancel: string;
  close: string;
  dismiss: string;
  copy: string;
  copied: string;
  copyFailed: string;
  limits: {
    show: string;
    again: (moment: string) => string;
    warned: (what: string, whose: string) => string;
    reached: (what: string, whose: string) => string;
    /** Begins with a space where there is something to say. */
    whose: (level: string, name: string) => string;
    measures: Record<string, string>;
  };
}

class Words {
  current = $state.raw<UiWords>({
    cancel: "Cancel",
    close: "Close",
    dismiss: "Dismiss",
    copy: "Copy",
    copied: "Copied",
    copyFailed: "The browser did not allow copying.",
    limits: { show: "Show limits", again: (moment) => moment, warned: (what) => what, reached: (what) => what, whose: () => "", measures: {} },
  });
}

export const uiWords = new Words();
