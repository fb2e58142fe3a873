# style.gp - what all pictures have in common. Loaded by the scripts beside it; `kind` is svg or png, `output_file` where it goes;
# `height` may be set before (SVG pixels).
if (!exists('height')) height = 460
# With more than ten rows a key at the side would leave the picture no room: it goes below, in columns. A script that can have many
# rows sets `keys`, their number, before.
if (!exists('keys')) keys = 0
if (keys > 10) height = height + 18 + 17 * ((keys + 2) / 3)
if (kind eq 'png') {
    set terminal pngcairo size 1640,2*height font 'DejaVu Sans,22' linewidth 2 background 'white'
    scale = 2.0
} else {
    set terminal svg size 820,height dynamic font 'DejaVu Sans, Helvetica, Arial, sans-serif,13' linewidth 1.2 background 'white'
    scale = 1.0
}
set output output_file
set encoding utf8
set border 3 linecolor rgb '#444444' linewidth 0.8
set tics nomirror out scale 0.6 textcolor rgb '#222222'
set grid ytics linecolor rgb '#e6e6e6' linewidth 0.7 linetype 1
set key outside right center vertical Left reverse samplen 1.6 spacing 1.3 noenhanced textcolor rgb '#222222'
set xlabel textcolor rgb '#222222' offset 0,-0.2
set ylabel textcolor rgb '#222222' offset 0.3,0
# The font is a variable: a comma inside braces would end the command. The title is the distance to the axis.
below_font = sprintf(',%d', kind eq 'png' ? 17 : 10)
if (keys > 10) { set key outside below center horizontal maxcols 3 maxrows (keys + 2) / 3 spacing 1.2 font below_font title ' ' }
array markers[8] = [7, 5, 9, 13, 11, 15, 6, 4]
color(i) = int('0x' . substr(word(colors, i), 2, 7))
marker(i) = markers[int(word(marks, i)) % 8 + 1]
