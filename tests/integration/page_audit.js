// What a reader would stumble over in a page, as a function that the browser evaluates: text that is cut, covered, broken within a word, too small or
// too pale, pictures without a size, a page that is wider than its window.
() => {
  const findings = new Set();
  const SMALLEST = 9.5; // CSS pixels, as displayed
  const CONTRAST = 4.5; // WCAG 2.2, 1.4.3
  const width = document.documentElement.clientWidth;
  const short = (text) => JSON.stringify(text.length > 60 ? text.slice(0, 60) + "..." : text);

  if (document.documentElement.scrollWidth > width + 1)
    findings.add(`the page is ${document.documentElement.scrollWidth} px wide in a window of ${width} px`);

  const colour = (text) => {
    const parts = (text.match(/[\d.]+/g) || []).map(Number);
    if (text.startsWith("color(srgb")) parts.forEach((part, index) => { if (index < 3) parts[index] = part * 255; }); // of color-mix()
    return { r: parts[0] || 0, g: parts[1] || 0, b: parts[2] || 0, a: parts.length > 3 ? parts[3] : text === "transparent" ? 0 : 1 };
  };
  const over = (top, below) => ({
    r: top.r * top.a + below.r * (1 - top.a), g: top.g * top.a + below.g * (1 - top.a), b: top.b * top.a + below.b * (1 - top.a), a: 1,
  });
  const luminance = (one) => {
    const part = (value) => ((value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(one.r) + 0.7152 * part(one.g) + 0.0722 * part(one.b);
  };
  const contrast = (one, other) => {
    const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  // Backgrounds from the page's own up to the element's; in a picture, the shapes below the middle of the text that come before it.
  const canvas = colour(matchMedia("(prefers-color-scheme: dark)").matches && getComputedStyle(document.documentElement).colorScheme.includes("dark") ? "rgb(18, 18, 18)" : "rgb(255, 255, 255)");
  const background = (element, box) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      if (one instanceof SVGSVGElement) {
        const x = (box.left + box.right) / 2, y = (box.top + box.bottom) / 2;
        for (const shape of [...one.querySelectorAll("rect, circle, path, polygon")].reverse()) {
          const at = shape.getBoundingClientRect();
          const before = shape.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING;
          if (before && at.left <= x && x <= at.right && at.top <= y && y <= at.bottom && getComputedStyle(shape).fill !== "none")
            layers.push(colour(getComputedStyle(shape).fill));
        }
      }
      layers.push(colour(getComputedStyle(one).backgroundColor));
    }
    return layers.reverse().reduce((below, top) => over(top, below), canvas);
  };
  // Where a text may be seen: its window, and what scrolls or clips around it.
  const frame = (element) => {
    let scrolls = false;
    const clips = [];
    for (let one = element; one && one !== document.documentElement; one = one.parentElement) {
      const style = getComputedStyle(one);
      if (one !== element && ["auto", "scroll"].includes(style.overflowX)) { scrolls = true; break; }
      if (["hidden", "clip"].includes(style.overflowX) || one instanceof SVGSVGElement) clips.push(one.getBoundingClientRect());
    }
    return { scrolls, clips };
  };

  const boxes = [];
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("script, style, title, desc, noscript")) continue;
    const style = getComputedStyle(element);
    const range = document.createRange();
    range.selectNodeContents(node);
    const lines = [...range.getClientRects()].filter((one) => one.width > 0.5 && one.height > 0.5);
    if (!lines.length || style.visibility === "hidden") continue;
    texts += 1;
    const words = short(node.data.trim());
    const inPicture = element.closest("svg");
    const scale = inPicture && element.getScreenCTM ? Math.abs(element.getScreenCTM().a) : 1;
    const size = parseFloat(style.fontSize) * scale;
    if (size < SMALLEST) findings.add(`text of ${size.toFixed(1)} px: ${words}`);
    const { scrolls, clips } = frame(element);
    for (const line of lines) {
      if (!scrolls && (line.left < -1 || line.right > width + 1)) findings.add(`text leaves the window: ${words}`);
      for (const clip of clips)
        if (line.left < clip.left - 1 || line.right > clip.right + 1 || line.top < clip.top - 1 || line.bottom > clip.bottom + 1)
          findings.add(`text is cut: ${words}`);
      boxes.push({ line, node, words, top: line.top + line.height * 0.2, bottom: line.bottom - line.height * 0.2 });
    }
    // A word of ordinary length that has to be broken is in a column that is too narrow for reading.
    if (!inPicture)
      for (const found of node.data.matchAll(/[\p{L}\p{N}]{2,14}/gu)) {
        range.setStart(node, found.index);
        range.setEnd(node, found.index + found[0].length);
        const tops = new Set([...range.getClientRects()].filter((one) => one.width > 0.5).map((one) => Math.round(one.top)));
        if (tops.size > 1) findings.add(`the word ${short(found[0])} is broken in ${words}`);
      }
    const front = colour(inPicture ? style.fill : style.color);
    const back = background(element, lines[0]);
    const ratio = contrast(over(front, back), back);
    if (ratio < CONTRAST) findings.add(`contrast ${ratio.toFixed(2)} of ${words}`);
  }

  boxes.sort((one, other) => one.top - other.top);
  for (let index = 0; index < boxes.length; index += 1)
    for (let next = index + 1; next < boxes.length && boxes[next].top < boxes[index].bottom; next += 1) {
      const one = boxes[index], other = boxes[next];
      const shared = Math.min(one.line.right, other.line.right) - Math.max(one.line.left, other.line.left);
      if (one.node !== other.node && shared > 1) findings.add(`texts overlap: ${one.words} and ${other.words}`);
    }

  const pictures = [...document.querySelectorAll("svg, img, canvas")].map((picture) => {
    const box = picture.getBoundingClientRect();
    const label = picture.getAttribute("aria-label") || "";
    const shapes = [...picture.querySelectorAll("rect, circle, path, polyline, line")].filter((shape) => {
      const at = shape.getBoundingClientRect();
      return at.width > 0.5 || at.height > 0.5;
    });
    if (box.width < 1 || box.height < 1) findings.add(`a picture without a size: ${label}`);
    if (!scrollable(picture) && box.right > width + 1) findings.add(`a picture leaves the window: ${label}`);
    for (const shape of shapes) {
      const at = shape.getBoundingClientRect();
      if (at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 || at.bottom > box.bottom + 1)
        findings.add(`a shape leaves its picture: ${label}`);
    }
    // Squares: shapes that a reader may point at for their titles.
    const squares = shapes.filter((shape) => shape.querySelector("title")).map((shape) => shape.getBoundingClientRect());
    const smallest = Math.min(...squares.map((at) => Math.min(at.width, at.height)), 1e6);
    return { label, width: box.width, height: box.height, shapes: shapes.length, squares: squares.length, smallest };
  });
  function scrollable(element) { return frame(element).scrolls; }

  return { findings: [...findings].slice(0, 60), pictures, texts, height: Math.ceil(document.documentElement.scrollHeight) };
}
