# capacity-panels.gp - estimated number of stored pairs against the number presented; a panel for rows whose names differ in a last number alone
# (the size of a head), one more for the others; the identity dashed.
# Called by `infinibench report` with: data output_file kind names colors marks twins ticks least most high low panels titles panel_of labels
#   data: blocks of one row "row - pairs capacity low high n"; panel_of: its panel, from 1; labels: its name there
# Axes are logarithmic; what lies below their lower end (also below 0) stands there.
rows = words(names)
across = panels < 3 ? panels : panels == 4 ? 2 : 3
down = (panels + across - 1) / across
height = 108 + 250 * down
load ARG0[1:strlen(ARG0) - strlen('capacity-panels.gp')] . 'style.gp'
floor_at = least / 4.0
up(y) = y > floor_at ? y : floor_at
# In a panel of numbers light to dark; the others keep their own colours and markers. k: how many of the panel come before.
array light[5] = [0xd9a441, 0xc1666b, 0x8e4585, 0x4a4e9e, 0x14213d]
nth(r) = sum[i = 1:r] (word(panel_of, i) eq word(panel_of, r))
count(p) = sum[i = 1:rows] (int(word(panel_of, i)) == p)
named(p) = word(titles, p) ne '-'
shade(r, p) = named(p) ? light[count(p) < 2 ? 1 : 1 + int((nth(r) - 1) * 4.0 / (count(p) - 1) + 0.5)] : color(r)
mark(r, p) = named(p) ? markers[(nth(r) - 1) % 8 + 1] : marker(r)
place(x, r, p) = x * 2 ** ((nth(r) - (count(p) + 1) / 2.0) * 0.36 / (count(p) + 1))
set logscale xy 2
set xrange [least / 1.4:most * 1.4]
set yrange [floor_at / 1.2:most * 1.3]
unset mytics
unset mxtics
labelled = ''
do for [i = -3:20:2] {
    y = 2.0 ** i
    if (y >= floor_at && y <= most * 1.3) { labelled = labelled . (strlen(labelled) ? ', ' : '') . sprintf("'%g' %g", y, y) }
}
floor_tick = sprintf("'≤ %g' %g", floor_at, floor_at)
set errorbars 0
set samples 400
left = 0.086
right = 0.014
bottom = 84.0 / height
top = 28.0 / height
gap = 0.034
between = 66.0 / height
wide = (1.0 - left - right - gap * (across - 1)) / across
high_panel = (1.0 - bottom - top - (down - 1) * between) / down
eval 'set xtics (' . ticks . ') font ",' . (kind eq 'png' ? 17 : 10) . '"'
set key inside left top vertical Left reverse samplen 1.2 spacing 1.0 noenhanced font sprintf(',%d', kind eq 'png' ? 16 : 10) \
    textcolor rgb '#222222'
set multiplot
do for [p = 1:panels] {
    c = (p - 1) % across
    l = (p - 1) / across
    set lmargin at screen left + c * (wide + gap)
    set rmargin at screen left + c * (wide + gap) + wide
    set tmargin at screen 1 - top - l * (high_panel + between)
    set bmargin at screen 1 - top - l * (high_panel + between) - high_panel
    eval 'set ytics (' . floor_tick . ', ' . labelled . ')'
    if (c > 0) { set ytics format '' } 
    set title (named(p) ? word(titles, p) . ', by size of a head' : 'others') noenhanced textcolor rgb '#222222' offset 0,-0.6
    plot x with lines linecolor rgb '#888888' linewidth 1.2 dashtype 2 notitle, \
         for [r = 1:rows] data index r - 1 using (int(word(panel_of, r)) == p ? place($3, r, p) : NaN):(up($4)) with lines \
             linecolor rgb shade(r, p) linewidth 1.4 notitle, \
         for [r = 1:rows] data index r - 1 using (int(word(panel_of, r)) == p ? place($3, r, p) : NaN):(up($4)):(up($5)):(up($6)) \
             with yerrorbars linecolor rgb shade(r, p) linewidth 1.2 pointtype mark(r, p) pointsize 0.6 * scale notitle, \
         for [r = 1:rows] (int(word(panel_of, r)) == p ? -1e9 : NaN) with linespoints linecolor rgb shade(r, p) linewidth 1.4 \
             pointtype mark(r, p) pointsize 0.6 * scale title (int(word(panel_of, r)) == p ? word(labels, r) : '')
}
unset title
unset key
unset tics
unset border
unset grid
unset logscale
set lmargin at screen 0
set rmargin at screen 1
set bmargin at screen 0
set tmargin at screen 1
set xrange [0:1]
set yrange [0:1]
set label 1 'pairs presented' at screen 0.5, 30.0 / height center textcolor rgb '#222222'
set label 2 'pairs stored (estimate)' at screen 0.018, 0.5 center rotate by 90 textcolor rgb '#222222'
plot -1 notitle
unset multiplot
