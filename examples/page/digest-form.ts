// The form that starts a digest: files chosen or dropped, stored beside the run, then hashed chunk by chunk.

import { freshId, h, setChildren, setText } from './dom.ts'
import { count, size } from './format.ts'
import { field, select } from './order-form.ts'

export interface DigestFormOptions {
  /** What storing the files is called: at the edge it is an upload. */
  readonly verb: string
  start(files: readonly File[], chunkBytes: number, progress: (bytes: number, of: number) => void): Promise<void>
}

const MiB = 1024 * 1024
const MOST_FILES = 100

export function digestForm({ verb, start }: DigestFormOptions): HTMLFormElement {
  let files: File[] = []
  let isBusy = false
  const pick = h('input', { type: 'file', multiple: true, id: freshId('files'), class: 'unseen' })
  const chunks = select('chunkBytes', [['1 MiB', String(MiB)], ['256 KiB', String(MiB / 4)], ['8 MiB', String(8 * MiB)]])
  const drop = h('label', { class: 'drop', for: pick.id },
    h('strong', {}, 'Choose files'), h('span', {}, ' or drop them here'), h('span', { class: 'quiet block' }, 'They stay where you start the run.'))
  const list = h('ul', { class: 'files' })
  const bar = h('progress', { max: 1, value: 0, 'aria-label': verb })
  const stored = h('p', { class: 'quiet', role: 'status' })
  const submit = h('button', { type: 'submit', class: 'primary' })
  const form = h('form', { class: 'form', 'aria-label': 'Start a digest' }, pick, drop, list, field('Chunk size', chunks), bar, stored, submit)

  const update = (): void => {
    const total = files.reduce((sum, file) => sum + file.size, 0)
    setText(submit, files.length === 0 ? 'Start the digest' : `Digest ${count(files.length, 'file')} (${size(total)})`)
    submit.disabled = isBusy || files.length === 0
    pick.disabled = isBusy
    bar.hidden = !isBusy
    if (!isBusy) setText(stored, '')
    setChildren(list, files.map((file) => {
      const remove = h('button', { type: 'button', class: 'icon', 'aria-label': `Remove ${file.name}`, disabled: isBusy }, '×')
      remove.addEventListener('click', () => {
        files = files.filter((other) => other !== file)
        update()
        pick.focus()
      })
      return h('li', {}, h('span', { class: 'file-name' }, file.name), h('span', { class: 'quiet' }, size(file.size)), remove)
    }))
  }
  const add = (more: FileList | null | undefined): void => {
    if (isBusy) return
    const isThere = (file: File): boolean => files.some(({ name, size, lastModified }) => name === file.name && size === file.size && lastModified === file.lastModified)
    files = [...files, ...[...more ?? []].filter((file) => !isThere(file))].slice(0, MOST_FILES)
    update()
  }
  pick.addEventListener('change', () => {
    add(pick.files)
    // So that the same file, removed, can be chosen again.
    pick.value = ''
  })
  for (const kind of ['dragenter', 'dragover', 'dragleave', 'drop'] as const) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault()
      drop.classList.toggle('over', kind === 'dragenter' || kind === 'dragover')
      if (kind === 'drop') add(event.dataTransfer?.files)
    })
  }
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    isBusy = true
    update()
    const shown = (bytes: number, of: number): void => {
      const share = of === 0 ? 1 : bytes / of
      bar.value = share
      setText(stored, `${verb}: ${size(bytes)} of ${size(of)}. Keep this page open until it is done; afterwards you may leave.`)
    }
    shown(0, files.reduce((sum, file) => sum + file.size, 0))
    start(files, Number(chunks.value), shown).then(() => {
      files = []
    }, () => {}).finally(() => {
      isBusy = false
      update()
    })
  })
  update()
  return form
}
