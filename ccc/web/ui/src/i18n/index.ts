import i18next, { type TFunction } from 'i18next';
import { createContext, createElement, type ReactNode, useContext, useMemo } from 'react';
import { initReactI18next, useTranslation } from 'react-i18next';
import type { Language } from '../api/types';
import en from './en';

export const languages: readonly Language[] = ['de', 'en', 'fr'];

const loaders: Record<Language, () => Promise<{ default: object }>> = {
  de: () => import('./de'),
  en: () => Promise.resolve({ default: en }),
  fr: () => import('./fr'),
};

const storageKey = 'ccc-language';

/** The language to begin with: chosen here before, wanted by the browser, German. */
export function firstLanguage(): Language {
  const wanted = [remembered(), ...navigator.languages.map((l) => l.slice(0, 2).toLowerCase())];
  for (const language of wanted) {
    const known = languages.find((l) => l === language);
    if (known) return known;
  }
  return 'de';
}

function remembered(): string | null {
  try {
    return localStorage.getItem(storageKey);
  } catch {
    return null;
  }
}

export async function startI18n(language: Language): Promise<void> {
  await i18next.use(initReactI18next).init({
    lng: language,
    fallbackLng: false,
    resources: { [language]: { translation: (await loaders[language]()).default } },
    interpolation: { escapeValue: false },
    returnNull: false,
  });
  document.documentElement.lang = language;
}

/** Shows the pages in another language. */
export async function showLanguage(language: Language): Promise<void> {
  if (!i18next.hasResourceBundle(language, 'translation')) {
    i18next.addResourceBundle(language, 'translation', (await loaders[language]()).default);
  }
  await i18next.changeLanguage(language);
  document.documentElement.lang = language;
  try {
    localStorage.setItem(storageKey, language);
  } catch {
    // The browser keeps nothing for this site.
  }
}

export interface Text {
  t: TFunction;
  /** For dates and numbers. */
  language: Language;
}

const TextContext = createContext<Text | null>(null);

/** Gives all below it the texts, with one subscription for all of them. */
export function TextProvider({ children }: { children: ReactNode }) {
  const { t, i18n } = useTranslation();
  const language = (i18n.resolvedLanguage ?? i18n.language) as Language;
  const text = useMemo(() => ({ t, language }), [t, language]);
  return createElement(TextContext, { value: text }, children);
}

export function useText(): Text {
  const text = useContext(TextContext);
  if (!text) throw new Error('used outside of TextProvider');
  return text;
}
