import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

// The control centre to which "npm run dev" hands the API's calls.
const backend = process.env.CCC_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [react()],
  // ccc/web puts the nonce of each answer where this stands.
  html: { cspNonce: '__CSP_NONCE__' },
  build: {
    target: 'es2022',
    // Images in data: URLs would be compressed with the script but not cached alone.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
  },
  server: { proxy: { '/api': { target: backend, changeOrigin: false } } },
  test: { include: ['src/**/*.test.{ts,tsx}', 'scripts/**/*.test.mjs'] },
});
