# length.gp - pass key accuracy by length, a panel a row: exact match by position with 95 % intervals, digit accuracy dashed, chance.
# Called by `infinibench report` with: data output_file kind names colors marks twins ticks staggered closest least most chance
#   staggered: the ticks with every other name a line lower; closest: the least distance of two, in octaves
#   data: three blocks a row (start, middle, end) "row position length exact_match low high n digit_accuracy", in per cent
rows = words(names)
across = rows < 3 ? rows : rows == 4 ? 2 : 3
down = (rows + across - 1) / across
height = 108 + 250 * down
load ARG0[1:strlen(ARG0) - strlen('length.gp')] . 'style.gp'
# start in the row's colour, middle in a tint of it, end, which needs no memory, in grey
tint(c) = c + (int(255 - c) * 0.5)
mixed(c) = int(tint(c / 65536)) * 65536 + int(tint(c / 256 % 256)) * 256 + int(tint(c % 256))
shade(r, k) = k == 0 ? color(r) : k == 1 ? mixed(color(r)) : 0x999999
array shape[3] = [7, 9, 5]
array place[3] = ['start', 'middle', 'end']
unset key
set logscale x 2
set xrange [least / 1.6:most * 1.6]
set yrange [-4:104]
set ytics 0, 25, 100 format '%g %%'
set errorbars 0
unset mxtics
left = 0.086
right = 0.014
bottom = 116.0 / height
top = 28.0 / height
gap = 0.028
between = 66.0 / height
wide = (1.0 - left - right - gap * (across - 1)) / across
high = (1.0 - bottom - top - (down - 1) * between) / down
octave = 820 * wide / (log(most / least) / log(2) + 1.36) # in pixels; a name such as 128K needs 36
eval 'set xtics (' . (closest * octave < 36 ? staggered : ticks) . ') font ",' . (kind eq 'png' ? 18 : 11) . '"'
set multiplot
do for [r = 1:rows] {
    c = (r - 1) % across
    l = (r - 1) / across
    set lmargin at screen left + c * (wide + gap)
    set rmargin at screen left + c * (wide + gap) + wide
    set tmargin at screen 1 - top - l * (high + between)
    set bmargin at screen 1 - top - l * (high + between) - high
    if (c == 0) { set ytics format '%g %%' } else { set ytics format '' }
    set title word(names, r) noenhanced textcolor rgb color(r) offset 0,-0.6
    plot chance with lines linecolor rgb '#444444' dashtype 3 linewidth 1.2, \
         for [k = 0:2] data index 3 * (r - 1) + k using ($3 * 2 ** ((k - 1) * 0.1)):8 with lines linecolor rgb shade(r, k) \
             linewidth 1.1 dashtype 2, \
         for [k = 2:0:-1] data index 3 * (r - 1) + k using ($3 * 2 ** ((k - 1) * 0.1)):4 with lines linecolor rgb shade(r, k) \
             linewidth 1.7, \
         for [k = 2:0:-1] data index 3 * (r - 1) + k using ($3 * 2 ** ((k - 1) * 0.1)):4:5:6 with yerrorbars \
             linecolor rgb shade(r, k) linewidth 1.3 pointtype shape[k + 1] pointsize 0.7 * scale
}
# one key for all panels, and the axis
unset title
unset tics
unset border
unset grid
set lmargin at screen 0
set rmargin at screen 1
set bmargin at screen 0
set tmargin at screen 1
unset logscale
set xrange [0:1]
set yrange [0:1]
set label 1 'length of the prompt (tokens)' at screen 0.5, 64.0 / height center textcolor rgb '#222222'
set key at screen 0.5, 28.0 / height center center horizontal maxrows 2 samplen 2 width 2 noenhanced textcolor rgb '#222222'
plot -1 with points pointtype 7 pointsize 0.7 * scale linecolor rgb '#333333' title 'start', \
     -1 with points pointtype 9 pointsize 0.7 * scale linecolor rgb '#777777' title 'middle', \
     -1 with points pointtype 5 pointsize 0.7 * scale linecolor rgb '#999999' title 'end', \
     -1 with lines linecolor rgb '#333333' linewidth 1.7 title 'exact match', \
     -1 with lines linecolor rgb '#333333' linewidth 1.1 dashtype 2 title 'digit accuracy', \
     -1 with lines linecolor rgb '#444444' linewidth 1.2 dashtype 3 title (chance > 0 ? 'chance of a digit' : '')
unset multiplot
