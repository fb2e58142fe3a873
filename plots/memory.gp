# memory.gp - memory of a text against its length, both axes logarithmic: bytes of state, compression, or resident memory.
# Called by `infinibench report` with: data output_file kind names lines colors dashes marks ticks least most low high what
#   names, lines: of the key's entries, name and number of the line, several of which may share a line
#   data: blocks of one line "row context line point"; what = state (levels level_names: lines across, the first of them crossed early or
#   not; points: whether there are any), ratio (papers: how many points of the paper in a last block "line context ratio text below",
#   below: its text goes below it), resident
keys = words(names) + (what eq 'resident' ? 1 : what eq 'state' ? 2 * points : papers > 0) # with its lines of explanation
load ARG0[1:strlen(ARG0) - strlen('memory.gp')] . 'style.gp'
rows = words(colors)
line(k) = int(word(lines, k))
dash(r) = 1 + int(word(dashes, r)) # of one colour, or over another line
set logscale xy
set xrange [least / 1.25:most * 1.25]
set xlabel 'length of the text (tokens)'
eval 'set xtics (' . ticks . ')'
unset mxtics
unset mytics
if (what eq 'ratio') {
    set ylabel 'times less memory than Memorizing'
    set format y '%g×'
} else {
    set ylabel what eq 'state' ? 'memory of one text' : 'resident memory, and the formula'
    set format y '%.0s %cB'
}
set yrange [low / 2.0:high * 2.2]
if (what eq 'state') {
    set style textbox opaque fillcolor rgb '#38ffffff' noborder margins 0.2, 0.1 # a curve goes on behind the words, faintly
    do for [i = 1:words(levels)] {
        y = real(word(levels, i))
        # rising curves are below a level on its left and above it on its right; two accelerators are close to each other
        right = i == 1 && early
        below = (right && !points) || (i > 1 && i < words(levels))
        set arrow from graph 0, first y to graph 1, first y nohead linecolor rgb '#8a8a8a' linewidth 1 dashtype 2 back
        set label word(level_names, i) at graph (right ? 0.99 : 0.012), first y offset 0, (below ? -0.55 : 0.5) \
            textcolor rgb '#666666' font sprintf(',%d', kind eq 'png' ? 18 : 11) front boxed
        if (right) { set label i word(level_names, i) right }
    }
}
papers_drawn = what eq 'ratio' && papers > 0
if (what eq 'resident') {
    # many lie close together: the first rows, which an experiment is about, on top
    plot for [r = rows:1:-1] data index r - 1 using 2:3 with lines linecolor rgb color(r) linewidth 1.3 dashtype 2 notitle, \
         for [r = rows:1:-1] data index r - 1 using 2:4 with linespoints linecolor rgb color(r) linewidth 1.5 \
             pointtype marker(r) pointsize 0.6 * scale notitle, \
         for [k = 1:words(names)] keyentry with linespoints linecolor rgb color(line(k)) linewidth 1.5 \
             pointtype marker(line(k)) pointsize 0.6 * scale title word(names, k), \
         keyentry with lines linecolor rgb '#666666' linewidth 1.3 dashtype 2 title 'by formula'
} else {
    with_points = what eq 'state' && points
    plot for [r = 1:rows] data index r - 1 using 2:3 with lines linecolor rgb color(r) linewidth 2 dashtype dash(r) notitle, \
         for [r = 1:with_points ? rows : 0] data index r - 1 using 2:4 with points linecolor rgb color(r) \
             pointtype marker(r) pointsize 0.65 * scale notitle, \
         for [k = 1:papers_drawn ? 1 : 0] data index rows using 2:3 with points linecolor rgb '#222222' pointtype 6 \
             pointsize 1.1 * scale linewidth 1.5 notitle, \
         for [k = 1:papers_drawn ? 1 : 0] data index rows using 2:(column(5) > 0 ? NaN : column(3)):4 with labels \
             offset -0.8, 0.8 right textcolor rgb '#222222' notitle, \
         for [k = 1:papers_drawn ? 1 : 0] data index rows using 2:(column(5) > 0 ? column(3) : NaN):4 with labels \
             offset 0.8, -0.8 left textcolor rgb '#222222' notitle, \
         for [k = 1:words(names)] keyentry with linespoints linecolor rgb color(line(k)) linewidth 2 dashtype dash(line(k)) \
             pointtype (with_points ? marker(line(k)) : -1) pointsize 0.65 * scale title word(names, k), \
         for [k = 1:papers_drawn ? 1 : 0] keyentry with points linecolor rgb '#222222' pointtype 6 pointsize 1.1 * scale \
             linewidth 1.5 title "the paper's Table 2", \
         for [k = 1:with_points] keyentry with lines linecolor rgb '#666666' linewidth 2 title 'line: by formula', \
         for [k = 1:with_points] keyentry with points linecolor rgb '#666666' pointtype 7 pointsize 0.65 * scale \
             title 'marker: carried, counted'
}
