# heads-histogram.gp - how many heads have which gate before, during and after training, a panel a row.
# Called by `infinibench report` with: data output_file kind names counts starts lines most halves
#   data: "row bin_from bin_to heads half"; a block a row; half: heads at half of the steps, NaN where nobody logged them (halves = 0: in
#   no row). starts: where all gates of a row started, -1: not all at one place
across = lines > 4 ? 4 : lines
down = (lines + across - 1) / across
height = 48 + 186 * down
load ARG0[1:strlen(ARG0) - strlen('heads-histogram.gp')] . 'style.gp'
unset key
dark = '#222222'
small = sprintf(',%d', 10 * scale)
set border 1
set tics scale 0.4
set xrange [0:1]
set yrange [0:most * 1.18]
set style fill solid 1 noborder
left = 0.07
gap = 0.03
wide = (0.99 - left - gap * (across - 1)) / across
# the line of the half would strike through the number above the bar: it goes into the bar
struck(bar, line) = real(line) > bar && real(line) - bar < 0.2 * most && bar > 0.12 * most
set multiplot
do for [i = 1:lines] {
    column = (i - 1) % across
    line = (i - 1) / across
    set lmargin at screen left + column * (wide + gap)
    set rmargin at screen left + column * (wide + gap) + wide
    set tmargin at screen 1 - (30.0 + 186 * line) / height
    set bmargin at screen 1 - (166.0 + 186 * line) / height
    set title sprintf('%s, %s', word(names, i), word(counts, i)) noenhanced textcolor rgb dark font small offset 0,-0.5
    if (column == 0) { set ytics 0, (most > 20 ? 10 : most > 8 ? 5 : most > 4 ? 2 : 1) } else { set ytics 0, (most > 20 ? 10 : most > 8 ? 5 : most > 4 ? 2 : 1) format '' }
    if (column == 0) { set ytics format '%g' }
    if (column == 0) { set ylabel 'heads' offset 0.2,0 } else { unset ylabel }
    set xtics 0, (across > 2 ? 0.5 : 0.1) format '%g' offset 0,0.2
    set object 1 rectangle from 0, graph 0 to 0.1, graph 1 fillcolor rgb '#ececec' fillstyle solid noborder behind
    set object 2 rectangle from 0.9, graph 0 to 1, graph 1 fillcolor rgb '#ececec' fillstyle solid noborder behind
    start = real(word(starts, i))
    unset arrow
    if (start >= 0) { set arrow 1 from start, graph 0 to start, graph 1 nohead dashtype 3 linecolor rgb '#777777' linewidth 1.2 front }
    plot data index i - 1 using (($2 + $3) / 2):($4 > 0 ? $4 : NaN):(0.088) with boxes linecolor rgb '#0072b2', \
         data index i - 1 using (($2 + $3) / 2):5 with histeps linecolor rgb '#d55e00' linewidth 1.6, \
         data index i - 1 using (($2 + $3) / 2):4:($4 > 0 && !struck($4, strcol(5)) ? strcol(4) : '') with labels offset 0,0.6 \
             font small textcolor rgb dark, \
         data index i - 1 using (($2 + $3) / 2):4:($4 > 0 && struck($4, strcol(5)) ? strcol(4) : '') with labels offset 0,-0.6 \
             font small textcolor rgb 'white'
}
unset arrow
unset object
unset title
unset xtics
unset ytics
unset ylabel
unset border
set label 1 'sigmoid(β)' at screen left, 14.0 / height left textcolor rgb dark
# the key: a stroke in the colour of each
array strokes[3] = ['#0072b2', '#d55e00', '#777777']
array dashes[3] = [1, 1, 3]
array words_of[3] = ['after training', 'half of the steps', 'start of all gates']
x = 0.99 - (halves ? 0.6 : 0.4)
do for [k = 1:3] {
    if (k == 2 && !halves) { continue }
    set arrow k from screen x, 14.0 / height to screen x + 0.025, 14.0 / height nohead linecolor rgb strokes[k] \
        linewidth (k == 1 ? 6 : 1.6) dashtype dashes[k]
    set label 1 + k words_of[k] at screen x + 0.034, 14.0 / height left textcolor rgb dark font small
    x = x + 0.2
}
plot [0:1] [0:1] -1 notitle linecolor rgb 'white'
unset multiplot
