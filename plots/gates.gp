# gates.gp - retrieval and learnt gates by initial gate and learning rate of the gates, a panel a section.
# Called by `infinibench report` with: data output_file kind panels titles inits rates across down
#   data: "section column line value gates n"; a block a panel
wide_n = panels * across <= 9 ? panels : (panels + 1) / 2 # the gates under a value need the width
down_n = (panels + wide_n - 1) / wide_n
head = 38                                                 # above a panel: its title
foot = 32                                                 # below it: rates
height = 60 + down_n * (head + foot + 62 * down)
load ARG0[1:strlen(ARG0) - strlen('gates.gp')] . 'style.gp'
unset key
unset grid
unset colorbox
set border 0
set tics scale 0, 0
set palette defined (0 '#f4f1ea', 25 '#c9dbe9', 50 '#7fb2d5', 75 '#2f79b5', 100 '#08306b')
set cbrange [0:100]
set xrange [-0.5:across - 0.5]
set yrange [-0.5:down - 0.5]
eval 'set xtics (' . rates . ') offset 0,0.4'
half = 0.485
left = 0.1
gap = 0.02
wide = (0.98 - left - gap * (wide_n - 1)) / wide_n
set multiplot
do for [i = 1:panels] {
    c = (i - 1) % wide_n
    l = (i - 1) / wide_n
    top = l * (head + foot + 62 * down) + head
    set lmargin at screen left + c * (wide + gap)
    set rmargin at screen left + c * (wide + gap) + wide
    set tmargin at screen 1 - top * 1.0 / height
    set bmargin at screen 1 - (top + 62.0 * down) / height
    if (c == 0) { eval 'set ytics scale 0 nomirror (' . inits . ') offset 0.6,0 textcolor rgb "#222222"' } else { unset ytics }
    if (c == 0) { set ylabel 'initial gate' offset 1.2,0 } else { unset ylabel }
    set title word(titles, i) noenhanced textcolor rgb '#222222' offset 0,-0.6
    plot data index i - 1 using 2:3:($2 - half):($2 + half):($3 - half):($3 + half):4 with boxxyerror fillstyle solid 1 noborder \
             linecolor palette, \
         data index i - 1 using 2:($3 + 0.14):($4 >= 55 ? sprintf('%.0f %%', $4) : '') with labels textcolor rgb 'white', \
         data index i - 1 using 2:($3 + 0.14):($4 < 55 ? sprintf('%.0f %%', $4) : '') with labels textcolor rgb '#222222', \
         data index i - 1 using 2:($3 - 0.2):($4 >= 55 ? strcol(5) : '') with labels font sprintf(',%d', 9 * scale + 1) textcolor rgb 'white', \
         data index i - 1 using 2:($3 - 0.2):($4 < 55 ? strcol(5) : '') with labels font sprintf(',%d', 9 * scale + 1) textcolor rgb '#222222'
}
set label 1 'learning rate of the gates, times that of the weights' at screen left + (0.98 - left) / 2, 22.0 / height center textcolor rgb '#222222'
unset title
unset xtics
unset ytics
unset ylabel
plot [0:1] [0:1] -1 notitle linecolor rgb 'white'
unset multiplot
