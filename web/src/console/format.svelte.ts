/** Numbers, money and moments in the chosen language and the reader's time zone. */

import { agoParts, moneyText } from "./figures";
import { i18n } from "./i18n/index.svelte";

class Format {
  number(value: number): string {
    return value.toLocaleString(i18n.locale);
  }

  /** 12.3K, 4.5M: for tiles and axes. */
  compact(value: number): string {
    return value.toLocaleString(i18n.locale, { notation: "compact", maximumFractionDigits: 1 });
  }

  /** A share of one. */
  percent(value: number): string {
    return value.toLocaleString(i18n.locale, { style: "percent", maximumFractionDigits: value < 0.1 ? 1 : 0 });
  }

  bytes(value: number): string {
    const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
    let unit = 0;
    let size = value;
    for (; size >= 1000 && unit < units.length - 1; unit += 1) size /= 1000;
    return size.toLocaleString(i18n.locale, {
      style: "unit",
      unit: units[unit]!,
      unitDisplay: unit === 0 ? "long" : "short",
      maximumFractionDigits: unit === 0 || size >= 100 ? 0 : 1,
    });
  }

  /** Milliseconds as `840 ms` or `1.2 s`. */
  ms(value: number): string {
    if (value < 1000) return `${this.number(Math.round(value))} ms`;
    return this.seconds(value / 1000);
  }

  seconds(value: number): string {
    if (value >= 5400) return `${this.short(value / 3600)} h`;
    if (value >= 90) return `${this.short(value / 60)} min`;
    return `${this.short(value)} s`;
  }

  /** Nano-units of the installation's currency. */
  money(nano: number | string | bigint): string {
    return moneyText(nano, i18n.locale);
  }

  date(iso: string | number | Date): string {
    const date = new Date(iso);
    if (Number.isNaN(date.getTime())) return "";
    return date.toLocaleDateString(i18n.locale, { day: "numeric", month: "short", year: "numeric" });
  }

  dateTime(iso: string | number | Date): string {
    const date = new Date(iso);
    if (Number.isNaN(date.getTime())) return "";
    return date.toLocaleString(i18n.locale, {
      day: "numeric",
      month: "short",
      year: "numeric",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
      timeZoneName: "short",
    });
  }

  time(iso: string | number | Date): string {
    return new Date(iso).toLocaleTimeString(i18n.locale, { hour: "2-digit", minute: "2-digit" });
  }

  /** `3 minutes ago`, `in 2 days`. */
  ago(iso: string | number | Date, now = Date.now()): string {
    const at = new Date(iso).getTime();
    if (Number.isNaN(at)) return "";
    const { value, unit } = agoParts(at - now);
    return new Intl.RelativeTimeFormat(i18n.locale, { numeric: "auto" }).format(value, unit);
  }

  private short(value: number): string {
    return value.toLocaleString(i18n.locale, { maximumFractionDigits: value < 10 ? 1 : 0 });
  }
}

export const format = new Format();
