/** The form of retention rules: saving asks first when something would be deleted. */

import { FormState, type FormOptions } from "../kit/form.svelte";
import type { Retention, RetentionDays } from "../api/upkeep";

export function daysOf(retention: Retention): RetentionDays {
  const { conversations_days, files_days, requests_days } = retention;
  return { conversations_days, files_days, requests_days };
}

export class RulesForm extends FormState<RetentionDays, Retention> {
  asking = $state(false);
  private agreed = false;

  constructor(
    options: FormOptions<RetentionDays, Retention>,
    private readonly deletes: () => Promise<boolean>,
  ) {
    super(options);
  }

  override async submit(): Promise<void> {
    if (!this.agreed && (await this.deletes())) {
      this.errors = {};
      this.problem = null;
      this.asking = true;
      return;
    }
    this.agreed = false;
    await super.submit();
  }

  async agree(): Promise<void> {
    this.agreed = true;
    this.asking = false;
    await this.submit();
  }
}
