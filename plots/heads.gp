# heads.gp - gates by layer and head before, during and after training, and what a head loses when its memory is knocked out: a line of
# panels a row. Called by `infinibench report` with: data output_file kind names titles most empty lines columns moments layers heads
#   data: "row panel layer head value text"; a block a panel. most: largest loss of a column, where its colour ends; empty: 1 where a
#   block has no point
side = layers * 26 < 84 ? 84 : layers * 26 > 240 ? 240 : layers * 26
top = 62
step = side + 46
bottom = 68
height = top + lines * step - 24 + bottom
load ARG0[1:strlen(ARG0) - strlen('heads.gp')] . 'style.gp'
unset key
unset grid
unset colorbox
set border 0
set tics scale 0, 0
set xrange [-0.5:heads - 0.5]
set yrange [-0.5:layers - 0.5]
dark = '#222222'
small = sprintf(',%d', 9 * scale + 1)
half = 0.47
left = 0.055
right = 0.99
# gates and losses stand apart
apart = columns > moments ? 0.025 : 0
gap = 0.012
wide = (right - left - apart - gap * (columns - 1)) / columns
written = wide * 820 / heads >= 24 # cells have room for their number
from(k) = left + k * (wide + gap) + (k >= moments ? apart : 0)
set multiplot
set label 1 'sigmoid(β)' at screen left, 1 - 20.0 / height left textcolor rgb dark
if (columns > moments) {
    set label 2 'lost when knocked out alone' at screen from(moments), 1 - 20.0 / height left textcolor rgb dark
}
do for [r = 1:lines] {
    above = 1 - (top + (r - 1) * step + 18.0) / height
    set label 3 word(names, r) at screen left, above + 12.0 / height left noenhanced textcolor rgb dark font sprintf('DejaVu Sans:Bold,%d', 11 * scale)
    do for [k = 0:columns - 1] {
        if (int(word(empty, (r - 1) * columns + k + 1))) { continue }
        set lmargin at screen from(k)
        set rmargin at screen from(k) + wide
        set tmargin at screen above
        set bmargin at screen above - real(side) / height
        if (k < moments) {
            set palette defined (0 '#1b5e9b', 0.1 '#4f93c6', 0.5 '#f1efea', 0.9 '#e08a3c', 1 '#b8501a')
            set cbrange [0:1]
            white(v) = v < 0.07 || v > 0.96
        } else {
            limit = real(word(most, k + 1))
            set palette defined (0 '#f6f3f8', 0.5 '#b28bc4', 1 '#54226f')
            set cbrange [0:limit]
            white(v) = v > 0.62 * limit
        }
        if (r == 1) { set title word(titles, k + 1) noenhanced textcolor rgb dark font small offset 0,0.9 } else { unset title }
        if (k == 0) { set ytics 0, (layers > 12 ? 4 : 1) scale 0 font small textcolor rgb dark offset 0.6,0 } else { unset ytics }
        if (k == 0) { set ylabel 'layer' offset 1.6,0 font small } else { unset ylabel }
        if (r == lines) { set xtics 0, (heads > 8 ? 4 : 1) scale 0 font small textcolor rgb dark offset 0,0.5 } else { unset xtics }
        # the key of the gates' colours, once
        if (r == lines && k == 0) {
            set colorbox horizontal user origin screen left + 0.05, 27.0 / height size screen 0.26, 8.0 / height noborder
            set cbtics 0.5 format '%g' font small offset 0,0.5
        } else { unset colorbox }
        block = (r - 1) * columns + k
        plot data index block using 4:3:($4 - half):($4 + half):($3 - half):($3 + half):5 with boxxyerror fillstyle solid 1 noborder linecolor palette, \
             data index block using 4:3:(written && white($5) ? strcol(6) : '') with labels font small textcolor rgb 'white', \
             data index block using 4:3:(written && !white($5) ? strcol(6) : '') with labels font small textcolor rgb dark
        unset label 1
        unset label 2
        unset label 3
    }
}
unset colorbox
set label 6 'local' at screen left + 0.043, 31.0 / height right textcolor rgb dark font small
set label 7 'memory' at screen left + 0.317, 31.0 / height left textcolor rgb dark font small
set label 4 'head' at screen left + (moments * (wide + gap) - gap) / 2, 49.0 / height center textcolor rgb dark font small
if (columns > moments) {
    set label 5 'head' at screen (from(moments) + right) / 2, 49.0 / height center textcolor rgb dark font small
}
# without numbers in the cells: where the colour of a loss ends
do for [k = moments:columns - 1] {
    if (!written) { set label 10 + k sprintf('darkest: %.3g', real(word(most, k + 1))) at screen from(k) + wide / 2, 31.0 / height center textcolor rgb dark font small }
}
unset title
unset xtics
unset ytics
unset ylabel
plot [0:1] [0:1] -1 notitle linecolor rgb 'white'
unset multiplot
