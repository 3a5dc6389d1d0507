globalThis.imported = (globalThis.imported ?? 0) + 1;
