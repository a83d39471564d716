/** Where a menu goes: below its button, above it when there is no room, never over the edge. */

export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export function placeMenu(
  anchor: Box,
  menu: { width: number; height: number },
  view: { width: number; height: number },
  align: "start" | "end",
  gap = 6,
): { left: number; top: number } {
  const wanted = align === "start" ? anchor.left : anchor.right - menu.width;
  const left = Math.max(8, Math.min(wanted, view.width - menu.width - 8));
  const below = anchor.bottom + gap;
  const above = anchor.top - gap - menu.height;
  const top = below + menu.height <= view.height - 8 || above < 8 ? below : above;
  return { left, top: Math.max(8, Math.min(top, view.height - menu.height - 8)) };
}
