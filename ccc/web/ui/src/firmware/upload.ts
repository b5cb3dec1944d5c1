import { apiBase, sessionEnded } from '../api/client';
import { ApiError, errorOf } from '../api/problem';
import { tenantHeaders } from '../api/tenant';
import type { Firmware } from './queries';

/**
 * Sends an image, and tells how many bytes are on their way. Only XMLHttpRequest knows
 * that of what a browser sends. Throws an ApiError; one with the code network also where
 * the signal ends it.
 */
export function upload(file: Blob, onProgress: (sent: number) => void, signal: AbortSignal): Promise<Firmware> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', `${apiBase}/firmware`);
    request.setRequestHeader('Content-Type', 'application/octet-stream');
    for (const [name, value] of Object.entries(tenantHeaders)) request.setRequestHeader(name, String(value));
    request.upload.onprogress = (e) => onProgress(e.loaded);
    request.onerror = () => reject(new ApiError('network'));
    request.onabort = () => reject(new ApiError('network'));
    request.onload = () => {
      const headers = new Headers();
      const retry = request.getResponseHeader('Retry-After');
      if (retry) headers.set('Retry-After', retry);
      let body: unknown;
      try {
        body = JSON.parse(request.responseText);
      } catch {
        body = undefined; // no answer of ours
      }
      if (request.status === 201 && body) {
        resolve(body as Firmware);
        return;
      }
      const error = errorOf(new Response(null, { status: request.status, headers }), body);
      if (error.code === 'unauthenticated') sessionEnded();
      reject(error);
    };
    signal.addEventListener('abort', () => request.abort());
    request.send(file);
  });
}
