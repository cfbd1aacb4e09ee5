// Search from the disk: browsers start no worker of a page that lies there, so an iframe runs the worker's script in its place.
// The plugin `offline` would fetch such a stand-in from unpkg.com; it finds by this file's name that there is one.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const scope = frame.contentWindow
      scope.document.write("<!doctype html><body>")
      scope.document.close()
      const run = (source) =>
        new Promise((resolve, reject) => {
          const script = scope.document.createElement("script")
          Object.assign(script, { src: source, onload: resolve, onerror: reject })
          scope.document.body.append(script)
        })
      scope.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
      scope.importScripts = (...sources) => sources.reduce((done, source) => done.then(() => run(source)), Promise.resolve())
      this.scope = scope
      this.ready = run(url)
    }

    postMessage(data) {
      this.ready.then(() => this.scope.dispatchEvent(new MessageEvent("message", { data })))
    }
  }
}
