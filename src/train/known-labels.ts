/** Labels of well-known data sets: what their masks store, which of it is a class, and the colours they are shown in. */

export interface KnownLabel {
  /** Value in a mask of numbers. */
  readonly value: number;
  readonly name: string;
  /** Class that is trained; `null`: left out. */
  readonly class: number | null;
  readonly colour: readonly [red: number, green: number, blue: number];
}

function label(value: number, name: string, index: number | null, red: number, green: number, blue: number): KnownLabel {
  return { value, name, class: index, colour: [red, green, blue] };
}

/** Cityscapes: ids of `…_gtFine_labelIds.png` and the 19 classes of its benchmark (labels.py of cityscapesScripts). */
export const cityscapesLabels: readonly KnownLabel[] = [
  label(0, "unlabeled", null, 0, 0, 0),
  label(1, "ego vehicle", null, 0, 0, 0),
  label(2, "rectification border", null, 0, 0, 0),
  label(3, "out of roi", null, 0, 0, 0),
  label(4, "static", null, 0, 0, 0),
  label(5, "dynamic", null, 111, 74, 0),
  label(6, "ground", null, 81, 0, 81),
  label(7, "road", 0, 128, 64, 128),
  label(8, "sidewalk", 1, 244, 35, 232),
  label(9, "parking", null, 250, 170, 160),
  label(10, "rail track", null, 230, 150, 140),
  label(11, "building", 2, 70, 70, 70),
  label(12, "wall", 3, 102, 102, 156),
  label(13, "fence", 4, 190, 153, 153),
  label(14, "guard rail", null, 180, 165, 180),
  label(15, "bridge", null, 150, 100, 100),
  label(16, "tunnel", null, 150, 120, 90),
  label(17, "pole", 5, 153, 153, 153),
  label(18, "polegroup", null, 153, 153, 153),
  label(19, "traffic light", 6, 250, 170, 30),
  label(20, "traffic sign", 7, 220, 220, 0),
  label(21, "vegetation", 8, 107, 142, 35),
  label(22, "terrain", 9, 152, 251, 152),
  label(23, "sky", 10, 70, 130, 180),
  label(24, "person", 11, 220, 20, 60),
  label(25, "rider", 12, 255, 0, 0),
  label(26, "car", 13, 0, 0, 142),
  label(27, "truck", 14, 0, 0, 70),
  label(28, "bus", 15, 0, 60, 100),
  label(29, "caravan", null, 0, 0, 90),
  label(30, "trailer", null, 0, 0, 110),
  label(31, "train", 16, 0, 80, 100),
  label(32, "motorcycle", 17, 0, 0, 230),
  label(33, "bicycle", 18, 119, 11, 32),
];

/** PASCAL VOC: the value is the class, 255 the border that is left out (VOC development kit). */
export const vocLabels: readonly KnownLabel[] = [
  label(0, "background", 0, 0, 0, 0),
  label(1, "aeroplane", 1, 128, 0, 0),
  label(2, "bicycle", 2, 0, 128, 0),
  label(3, "bird", 3, 128, 128, 0),
  label(4, "boat", 4, 0, 0, 128),
  label(5, "bottle", 5, 128, 0, 128),
  label(6, "bus", 6, 0, 128, 128),
  label(7, "car", 7, 128, 128, 128),
  label(8, "cat", 8, 64, 0, 0),
  label(9, "chair", 9, 192, 0, 0),
  label(10, "cow", 10, 64, 128, 0),
  label(11, "diningtable", 11, 192, 128, 0),
  label(12, "dog", 12, 64, 0, 128),
  label(13, "horse", 13, 192, 0, 128),
  label(14, "motorbike", 14, 64, 128, 128),
  label(15, "person", 15, 192, 128, 128),
  label(16, "pottedplant", 16, 0, 64, 0),
  label(17, "sheep", 17, 128, 64, 0),
  label(18, "sofa", 18, 0, 192, 0),
  label(19, "train", 19, 128, 192, 0),
  label(20, "tvmonitor", 20, 0, 64, 128),
  label(255, "void", null, 224, 224, 192),
];
