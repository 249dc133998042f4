/** Files and folders that are dropped on a form's field become the field's files, as if they were chosen there. */

/** @param refused told when nothing of what was dropped is of the field's kind */
export function acceptDrops(field: HTMLInputElement, refused: () => void): void {
  const target = field.closest("label") ?? field;
  const over = (on: boolean) => (event: Event) => {
    event.preventDefault();
    target.classList.toggle("over", on);
  };
  target.addEventListener("dragover", over(true));
  target.addEventListener("dragleave", over(false));
  target.addEventListener("drop", async (event) => {
    over(false)(event);
    const dropped = await droppedFiles((event as DragEvent).dataTransfer);
    const fitting = new DataTransfer();
    for (const file of dropped) if ((field.multiple || fitting.files.length === 0) && isAccepted(file, field.accept)) fitting.items.add(file);
    if (fitting.files.length === 0) return refused();
    field.files = fitting.files;
    field.dispatchEvent(new Event("change"));
  });
}

/** What is dropped beside the fields would take the page's place. */
export function ignoreOtherDrops(): void {
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
}

async function droppedFiles(transfer: DataTransfer | null): Promise<File[]> {
  // All are asked for before the first wait, after which the list is empty.
  const dropped = [...(transfer?.items ?? [])].map((item) => {
    const entry = item.webkitGetAsEntry();
    return entry?.isDirectory ? filesOf(entry as FileSystemDirectoryEntry) : item.getAsFile();
  });
  return (await Promise.all(dropped)).flat().filter((file) => file !== null);
}

/** Files directly in a folder. */
async function filesOf(folder: FileSystemDirectoryEntry): Promise<File[]> {
  const reader = folder.createReader();
  const files: Promise<File>[] = [];
  for (;;) {
    // A folder is told in parts; an empty one is the end.
    const entries = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) return Promise.all(files);
    for (const entry of entries) {
      if (entry.isFile) files.push(new Promise((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)));
    }
  }
}

/** @param accept one ending, or one media type */
function isAccepted({ name, type }: File, accept: string): boolean {
  if (accept.startsWith(".")) return name.toLowerCase().endsWith(accept);
  return accept.endsWith("/*") ? type.startsWith(accept.slice(0, -1)) : type === accept;
}
