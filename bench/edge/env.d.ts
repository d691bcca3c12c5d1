declare global {
  namespace Cloudflare {
    interface GlobalProps {
      mainModule: typeof import('./worker.ts')
      durableNamespaces: 'Run' | 'Bare'
    }
  }
}

export {}
