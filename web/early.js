/* Runs before the first paint, as a classic script: a theme the user chose must not flash through the system's. */
try {
  const theme = JSON.parse(localStorage.getItem('qaio.settings') || '{}').theme;
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  /* no storage, or not ours: the system's theme stands */
}
