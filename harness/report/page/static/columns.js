// Unpacks what columns.py packed: inflate, join the byte planes, sum up the differences.

async function inflated(id) {
  const bytes = Uint8Array.from(atob($(id).textContent), letter => letter.charCodeAt(0))
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'))
  return new Uint8Array(await new Response(stream).arrayBuffer())
}

function unpacked(bytes, count, columns) {
  const found = { count }
  let place = 0
  for (const column of columns) {
    const numbers = column.name === 'type' ? new Uint8Array(count) : column.planes > 4 || column.is_delta ? new Float64Array(count) : new Uint32Array(count)
    for (let plane = 0; plane < column.planes; plane++) {
      const weight = 256 ** plane
      for (let i = 0; i < count; i++) numbers[i] += bytes[place + i] * weight
      place += count
    }
    if (column.is_delta) for (let i = 1; i < count; i++) numbers[i] += numbers[i - 1]
    found[column.name] = numbers
  }
  found.end = new Float64Array(count)
  for (let i = 0; i < count; i++) found.end[i] = found.begin[i] + found.took[i]
  return found
}
