#!/usr/bin/env bash
# Refuses texts for people that have a phrase of scripts/words.txt, one a line: each was replaced by plain words once. Only whole phrases
# stand there, no word of ordinary English. Decisions and the changelog say what was, and tests quote.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

status=0
git grep --line-number --fixed-strings -f scripts/words.txt -- README.md docs src deploy examples ':!docs/decisions' ':!docs/demo.cast' || status=$?
# 1 says that there is none.
case $status in
  0) echo 'words: error: write these in plain words; scripts/words.txt has the phrases' >&2; exit 1 ;;
  1) exit 0 ;;
  *) exit "$status" ;;
esac
