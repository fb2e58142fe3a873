# depth.gp - exact match by depth of the needle as a heat map: columns are lengths (a panel a row of the table), or rows of one length.
# Called by `infinibench report` with: data output_file kind names colors marks twins ticks depths rows_are_panels across down
#   data: "row column depth_index value n"; a block a panel
panels = rows_are_panels ? words(names) : 1
wide_n = panels < 3 ? panels : panels == 4 ? 2 : 3
down_n = (panels + wide_n - 1) / wide_n
height = (rows_are_panels ? 90 : 20) + down_n * (40 + 24 * (down < 6 ? 6 : down > 14 ? 14 : down))
load ARG0[1:strlen(ARG0) - strlen('depth.gp')] . 'style.gp'
unset key
unset grid
unset colorbox
set border 0
set tics scale 0, 0
set palette defined (0 '#f4f1ea', 25 '#c9dbe9', 50 '#7fb2d5', 75 '#2f79b5', 100 '#08306b')
set cbrange [0:100]
set xrange [-0.5:across - 0.5]
set yrange [down - 0.5:-0.5]
eval 'set xtics (' . ticks . ') noenhanced offset 0,0.4'
eval 'set ytics (' . depths . ') offset 0.6,0'
readable = across * wide_n <= 14 && down <= 21
left = 0.085
right = 0.125
bottom = (rows_are_panels ? 66.0 : 36.0) / height
top = (rows_are_panels ? 30.0 : 12.0) / height
gap = 0.025
wide = (1.0 - left - right - gap * (wide_n - 1)) / wide_n
high = (1.0 - bottom - top - (down_n - 1) * 58.0 / height) / down_n
half = 0.485
set multiplot
do for [r = 1:panels] {
    c = (r - 1) % wide_n
    l = (r - 1) / wide_n
    set lmargin at screen left + c * (wide + gap)
    set rmargin at screen left + c * (wide + gap) + wide
    set tmargin at screen 1 - top - l * (high + 58.0 / height)
    set bmargin at screen 1 - top - l * (high + 58.0 / height) - high
    if (c == 0) { eval 'set ytics scale 0 nomirror (' . depths . ') offset 0.6,0' } else { unset ytics }
    if (c == 0) { set ylabel 'depth of the needle (%)' offset 1.2,0 } else { unset ylabel }
    if (rows_are_panels) { set title word(names, r) noenhanced textcolor rgb color(r) offset 0,-0.6 }
    plot data index r - 1 using 2:3:($2 - half):($2 + half):($3 - half):($3 + half):4 with boxxyerror fillstyle solid 1 noborder \
             linecolor palette, \
         data index r - 1 using 2:3:(readable && $4 >= 55 ? sprintf('%.0f', $4) : '') with labels textcolor rgb 'white', \
         data index r - 1 using 2:3:(readable && $4 < 55 ? sprintf('%.0f', $4) : '') with labels textcolor rgb '#222222'
}
# the axis of all panels; the scale, drawn of boxes so that it is vectors in SVG too
if (rows_are_panels) { set label 1 'length of the prompt (tokens)' at screen (1 + left - right) / 2, 20.0 / height center textcolor rgb '#222222' }
unset title
unset xlabel
unset ylabel
unset xtics
set lmargin at screen 0.9
set rmargin at screen 0.92
set bmargin at screen bottom
set tmargin at screen 1 - top
set xrange [0:1]
set yrange [0:100]
unset ytics
set y2range [0:100]
set y2tics scale 0 ('0 %%' 0, '25' 25, '50' 50, '75' 75, '100 %%' 100) offset -0.4,0 textcolor rgb '#222222'
set samples 51
plot '+' using (0.5):(($0) * 2):(0):(1):($0 * 2 - 1):($0 * 2 + 1.2):($0 * 2) with boxxyerror fillstyle solid 1 noborder linecolor palette
unset multiplot
