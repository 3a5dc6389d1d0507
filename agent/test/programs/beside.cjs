// Preloaded by the user: nothing.
