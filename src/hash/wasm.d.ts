// A `.wasm` import is a compiled module in Workers (wrangler, esbuild with a loader, the vitest plugin).
declare module '*.wasm' {
  const module: WebAssembly.Module
  export default module
}
