declare global {
  namespace Cloudflare {
    interface GlobalProps {
      mainModule: typeof import('./main.ts')
      durableNamespaces: 'Scratch' | 'Run' | 'ToldRun'
    }
  }
}

export {}
