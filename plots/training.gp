# training.gp - training curves: bits per byte against tokens, a line per row and seed.
# Called by `infinibench report` with: data output_file kind names colors twins lines unit low high most
#   data: blocks "row seed tokens bits"; lines: for each block the number of its row in names
load ARG0[1:strlen(ARG0) - strlen('training.gp')] . 'style.gp'
million = most >= 5e6 ? 1e6 : most >= 5e3 ? 1e3 : 1.0
set xlabel million == 1e6 ? 'training tokens (million)' : million == 1e3 ? 'training tokens (thousand)' : 'training tokens'
set ylabel 'training loss (' . unit . ')'
set xrange [0:most / million]
pad = (high - low) * 0.04
set yrange [low - pad:high + pad]
set format y '%.2g'
set ytics format '%g'
blocks = words(lines)
row(b) = int(word(lines, b))
first(b) = b == 1 ? 1 : row(b) != row(b - 1)
plot for [b = 1:blocks] data index b - 1 using ($3 / million):4 with lines linecolor rgb color(row(b)) \
         linewidth (int(word(twins, row(b))) ? 1.1 : 1.6) dashtype (int(word(twins, row(b))) + 1) notitle, \
     for [r = 1:words(names)] keyentry with lines linecolor rgb color(r) linewidth 2 dashtype (int(word(twins, r)) + 1) title word(names, r)
