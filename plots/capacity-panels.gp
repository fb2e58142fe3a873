# capacity-panels.gp - estimated number of stored pairs against the number presented; a panel for rows whose names differ in a last number alone
# (the size of a head), one more for the others; the identity dashed.
# Called by `infinibench report` with: data output_file kind names colors marks twins ticks least most high low commonest panels titles panel_of labels
#   data: blocks of one row "row - pairs capacity low high n"; with commonest a last one, of the control that gives the commonest value read; panel_of: its panel, from 1; labels: its name there
#   ticks: those that have room
# Axes are logarithmic; what lies below their lower end (also below 0) stands there.
rows = words(names)
across = panels < 3 ? panels : panels == 4 ? 2 : 3
down = (panels + across - 1) / across
height = 92 + 250 * down
load ARG0[1:strlen(ARG0) - strlen('capacity-panels.gp')] . 'style.gp'
floor_at = least / 4.0
up(y) = y > floor_at ? y : floor_at
# In a panel of numbers light to dark; the others keep their own colours and markers. k: how many of the panel come before.
array light[5] = [0xd9a441, 0xc1666b, 0x8e4585, 0x4a4e9e, 0x14213d]
in(r) = int(word(panel_of, r))
nth(r) = sum[i = 1:r] (in(i) == in(r))
count(p) = sum[i = 1:rows] (in(i) == p)
named(p) = word(titles, p) ne '-'
shade(r) = named(in(r)) ? light[count(in(r)) < 2 ? 1 : 1 + int((nth(r) - 1) * 4.0 / (count(in(r)) - 1) + 0.5)] : color(r)
mark(r) = named(in(r)) ? markers[(nth(r) - 1) % 8 + 1] : marker(r)
place(x, r) = x * 2 ** ((nth(r) - (count(in(r)) + 1) / 2.0) * 0.36 / (count(in(r)) + 1))
set logscale xy 2
set xrange [least / 1.4:most * 1.4]
set yrange [floor_at / 1.2:most * 1.3]
unset mytics
unset mxtics
labelled = ''
unlabelled = ''
do for [i = -3:20:2] {
    y = 2.0 ** i
    if (y > floor_at * 1.5 && y <= most * 1.3) {
        labelled = labelled . sprintf(", '%g' %g", y, y)
        unlabelled = unlabelled . sprintf(", '' %g", y)
    }
}
labelled = sprintf("'≤ %g' %g", floor_at, floor_at) . labelled
unlabelled = sprintf("'' %g", floor_at) . unlabelled
set errorbars 0
set samples 400
left = 0.105
right = 0.014
bottom = 72.0 / height
top = 28.0 / height
gap = 0.03
between = 66.0 / height
wide = (1.0 - left - right - gap * (across - 1)) / across
high_panel = (1.0 - bottom - top - (down - 1) * between) / down
eval 'set xtics (' . ticks . ') font ",' . (kind eq 'png' ? 17 : 10) . '"'
set key inside left top vertical Left reverse samplen 1.2 spacing 1.0 noenhanced font below_font textcolor rgb '#222222'
set multiplot
do for [p = 1:panels] {
    c = (p - 1) % across
    l = (p - 1) / across
    set lmargin at screen left + c * (wide + gap)
    set rmargin at screen left + c * (wide + gap) + wide
    set tmargin at screen 1 - top - l * (high_panel + between)
    set bmargin at screen 1 - top - l * (high_panel + between) - high_panel
    eval 'set ytics (' . (c ? unlabelled : labelled) . ')'
    set title (named(p) ? word(titles, p) : 'others') noenhanced textcolor rgb '#222222' offset 0,-0.6
    # long names beside the panel, where there is room
    if (!named(p) && c + 1 < across) { set key at screen left + (c + 1) * (wide + gap), screen 1 - top - l * (high_panel + between) left top font '' }
    plot x with lines linecolor rgb '#888888' linewidth 1.2 dashtype 2 notitle, \
         for [r = rows + 1:rows + commonest] data index rows using 3:(up($4)) with lines linecolor rgb '#888888' linewidth 1.4 \
             dashtype 3 notitle, \
         for [r = 1:rows] data index r - 1 using (in(r) == p ? place($3, r) : NaN):(up($4)) with lines \
             linecolor rgb shade(r) linewidth 1.4 notitle, \
         for [r = 1:rows] data index r - 1 using (in(r) == p ? place($3, r) : NaN):(up($4)):(up($5)):(up($6)) \
             with yerrorbars linecolor rgb shade(r) linewidth 1.2 pointtype mark(r) pointsize 0.6 * scale notitle, \
         for [r = 1:rows] (in(r) == p ? -1e9 : NaN) with linespoints linecolor rgb shade(r) linewidth 1.4 \
             pointtype mark(r) pointsize 0.6 * scale title (in(r) == p ? word(labels, r) : '')
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
set label 2 'pairs stored (estimate)' at screen 0.016, 0.5 center rotate by 90 textcolor rgb '#222222'
plot -1 notitle
unset multiplot
