// Finds a Chromium for the browser tests: CHROME_PATH, then an installed one, then Debian's package when we may install it,
// then an error that says what to do. There is no way to skip.
import { spawnSync } from 'node:child_process'
import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** @param {string} path */
function executable(path) {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

/** @returns {string[]} */
function usualPlaces() {
  const env = process.env
  if (process.platform === 'darwin') {
    return ['/Applications', join(env.HOME ?? '/', 'Applications')].flatMap((dir) => [
      `${dir}/Chromium.app/Contents/MacOS/Chromium`,
      `${dir}/Google Chrome.app/Contents/MacOS/Google Chrome`,
    ])
  }
  if (process.platform === 'win32') {
    return [env['PROGRAMFILES'], env['PROGRAMFILES(X86)'], env['LOCALAPPDATA']].flatMap((dir) =>
      dir ? [join(dir, 'Google/Chrome/Application/chrome.exe'), join(dir, 'Chromium/Application/chrome.exe')] : [],
    )
  }
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
  const dirs = [...(env.PATH ?? '').split(delimiter), '/usr/bin', '/usr/local/bin', '/snap/bin']
  return [...names.flatMap((name) => dirs.map((dir) => join(dir, name))), '/opt/google/chrome/chrome']
}

function isDebian() {
  try {
    return /^ID="?debian"?$/m.test(readFileSync('/etc/os-release', 'utf8'))
  } catch {
    return false
  }
}

/** The path of a Chromium that is installed, if there is one. */
export function installedChromium() {
  const asked = process.env.CHROME_PATH
  if (asked) {
    if (executable(asked)) return asked
    throw new Error(`CHROME_PATH is ${asked}, which is not an executable file.`)
  }
  return usualPlaces().find(executable)
}

/** The path of a Chromium, installed first if need be and possible. */
export function chromium() {
  const found = installedChromium()
  if (found) return found
  if (isDebian() && process.getuid?.() === 0) {
    console.error('Installing Chromium…')
    /** @param {string[]} args */
    const apt = (args) =>
      spawnSync('apt-get', args, { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, stdio: ['ignore', 'ignore', 'inherit'] })
    apt(['-qq', 'update'])
    apt(['-qq', 'install', '-y', '--no-install-recommends', 'chromium'])
    const installed = installedChromium()
    if (installed) return installed
  }
  throw new Error(
    'No Chromium found, and the browser tests need one. Install Chromium or Google Chrome ' +
      '(Debian: apt-get install chromium, as root; macOS: brew install --cask chromium), or set CHROME_PATH to its executable.',
  )
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    console.log(chromium())
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  }
}
