#!/usr/bin/env bash
# Builds the site of the documentation with mdBook, and fails where a link within it leads nowhere. Links out of docs/ lead into the
# repository, at SITE_SOURCE (such as https://github.com/OWNER/REPOSITORY/blob/main).
#
#   scripts/site.sh      needs cargo the first time, for mdBook is installed by scripts/tools.sh; and npm, for the player of the demo
#
# Standard output is the folder of the site and nothing else.
set -euo pipefail
shopt -s inherit_errexit

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly site=target/site
readonly source=${SITE_SOURCE:-..}

die() { printf 'site: error: %s\n' "$*" >&2; exit 1; }

# Links that lead out of the book: ../X in docs/, ../../X in the folders in it. The list of findings is the chapter itself.
sources() {
  rm -rf "$site"
  mkdir -p "$site"
  cp -r docs book.toml "$site/"
  sed -i "s|](\.\./|]($source/|g; s|\[findings/\](findings)|findings/|" "$site"/docs/*.md
  sed -i "s|](\.\./\.\./|]($source/|g" "$site"/docs/*/*.md
  # mdBook makes index.html of a README.md, and leaves links to it as they are.
  local page
  for page in "$site"/docs/*.md "$site"/docs/*/*.md; do
    [[ $page == */SUMMARY.md ]] || sed -i -E 's#\]\(([a-z]+/)?README\.md#](\1index.md#g' "$page"
  done
}

# player: what plays docs/demo.cast, at the version and digest of scripts/player/package-lock.json.
player() {
  command -v npm >/dev/null || die 'npm is missing; install Node.js (it fetches the player of the recorded demo)'
  local folder=$site/player
  cp -r scripts/player "$folder"
  npm ci --silent --ignore-scripts --no-audit --no-fund --prefix "$folder" >&2
  cp "$folder"/node_modules/asciinema-player/dist/bundle/asciinema-player.{css,min.js} "$site/docs/"
  rm -rf "$folder"
}

# check_links: each relative link of each page leads to a file.
check_links() {
  local page folder link broken=0 seen=0
  while IFS= read -r -d '' page; do
    folder=$(dirname "$page")
    while IFS= read -r link; do
      [[ $link && $link != *:* && $link != "$source"/* ]] || continue
      seen=$((seen + 1))
      [[ -e $folder/$link ]] && continue
      printf 'site: %s has a link to %s, which is not there\n' "${page#"$site"/html/}" "$link" >&2
      broken=$((broken + 1))
    done < <(grep -oE '(href|src)="[^"#]*' "$page" | cut -d '"' -f 2 | sort -u)
  done < <(find "$site/html" -name '*.html' ! -name 404.html -print0)
  ((seen > 100)) || die "only $seen links were found: the check itself is broken"
  ((broken == 0)) || die "$broken links lead nowhere"
  printf 'site: %d links within the site lead somewhere\n' "$seen" >&2
}

tools=$(scripts/tools.sh mdbook)
sources
player
"$tools/mdbook" build "$site" --dest-dir "$PWD/$site/html" >&2
check_links
printf '%s\n' "$PWD/$site/html"
