# training.gp - training curves: bits per byte against tokens, a line per row, mean over seeds.
# Called by `infinibench report` with: data output_file kind names colors twins unit low high most
#   data: blocks of one row "row step tokens bits seeds"
keys = words(names)
load ARG0[1:strlen(ARG0) - strlen('training.gp')] . 'style.gp'
million = most >= 5e6 ? 1e6 : most >= 5e3 ? 1e3 : 1.0
set xlabel million == 1e6 ? 'training tokens (million)' : million == 1e3 ? 'training tokens (thousand)' : 'training tokens'
set ylabel 'training loss (' . unit . ')'
set xrange [0:most / million]
pad = (high - low) * 0.04
set yrange [low - pad:high + pad]
set format y '%.2g'
set ytics format '%g'
plot for [r = 1:words(names)] data index r - 1 using ($3 / million):4 with lines linecolor rgb color(r) linewidth 1.7 \
         dashtype 1 + int(word(twins, r)) title word(names, r)
