/** The tenant's knowledge bases, shared by the pages and dialogs that show them. */

import { createKnowledgeBase, deleteKnowledgeBase, fetchKnowledgeBases, renameKnowledgeBase } from "../api/endpoints";
import { ApiProblem } from "../api/problem";
import type { KnowledgeBase } from "../api/types";

class KnowledgeBases {
  list = $state<KnowledgeBase[]>([]);
  loaded = $state(false);
  problem = $state.raw<ApiProblem | null>(null);

  async load(): Promise<void> {
    this.problem = null;
    try {
      this.list = await fetchKnowledgeBases();
      this.loaded = true;
    } catch (cause) {
      if (!(cause instanceof ApiProblem)) throw cause;
      this.problem = cause;
    }
  }

  async create(name: string): Promise<KnowledgeBase> {
    const base = await createKnowledgeBase(name);
    this.list.unshift(base);
    return base;
  }

  async rename(id: string, name: string): Promise<void> {
    const fresh = await renameKnowledgeBase(id, name);
    const row = this.list.find((one) => one.id === id);
    if (row) row.name = fresh.name;
  }

  async remove(id: string): Promise<void> {
    await deleteKnowledgeBase(id);
    this.list = this.list.filter((one) => one.id !== id);
  }

  find(id: string): KnowledgeBase | undefined {
    return this.list.find((one) => one.id === id);
  }
}

export const bases = new KnowledgeBases();
