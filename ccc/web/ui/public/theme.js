// Sets light or dark before the first paint; the program itself comes later.
(() => {
  let chosen = 'auto';
  try {
    chosen = localStorage.getItem('ccc-color-scheme') || 'auto';
  } catch {
    // The browser keeps nothing for this site.
  }
  const dark = chosen === 'dark' || (chosen === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.setAttribute('data-mantine-color-scheme', dark ? 'dark' : 'light');
})();
