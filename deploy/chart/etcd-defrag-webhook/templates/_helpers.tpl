{{- define "edw.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* At most 50 characters: the names of Secrets, tests and webhooks add to it. */}}
{{- define "edw.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "edw.selector" -}}
app.kubernetes.io/name: {{ include "edw.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "edw.labels" -}}
{{ include "edw.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- if not .Values.plainManifests }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The namespaces that webhook and reconciler leave alone, with commas: one value for both. */}}
{{- define "edw.exemptNamespaces" -}}
{{- $names := list }}
{{- range .Values.exemptNamespaces }}
{{- $names = append $names (tpl . $) }}
{{- end }}
{{- $names | uniq | join ", " }}
{{- end }}

{{- /* The same for the process, which learns its own namespace from the pod, whatever Kustomize makes of it. */}}
{{- define "edw.exemptArgument" -}}
{{- $names := list }}
{{- range .Values.exemptNamespaces }}
{{- $name := tpl . $ }}
{{- $names = append $names (eq $name $.Release.Namespace | ternary "$(POD_NAMESPACE)" $name) }}
{{- end }}
{{- $names | uniq | join "," }}
{{- end }}

{{- define "edw.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "edw.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "edw.tlsSecret" -}}
{{- default (printf "%s-tls" (include "edw.fullname" .)) .Values.tls.secretName }}
{{- end }}

{{- /* Labels and annotations of an object: those of all, and `own` annotations, which take precedence, and `labels` besides. */}}
{{- define "edw.meta" -}}
labels:
  {{- include "edw.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (default (dict) .own) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* `image` in `registry`, which takes the place of the one that it names. */}}
{{- define "edw.onRegistry" -}}
{{- $parts := splitList "/" .image }}
{{- $host := first $parts }}
{{- if and .registry (gt (len $parts) 1) (or (contains "." $host) (contains ":" $host) (eq $host "localhost")) }}
{{- $parts = rest $parts }}
{{- end }}
{{- join "/" (prepend $parts .registry | compact) }}
{{- end }}

{{- define "edw.image" -}}
{{- $missing := "image.repository is empty, and no image of etcd-defrag-webhook is published yet. Build one with `make image`, push it to a registry that your nodes pull from, and set image.repository to where it is, such as registry.example/etcd-defrag-webhook (docs/install.md)" }}
{{- $repository := required $missing .Values.image.repository }}
{{- $registry := default .Values.global.imageRegistry .Values.image.registry }}
{{- $name := include "edw.onRegistry" (dict "image" $repository "registry" $registry) }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $name .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- /* The registry of the image that defragments; empty for its own. */}}
{{- define "edw.engineRegistry" -}}
{{- default .Values.global.imageRegistry .Values.engineImage.registry }}
{{- end }}

{{- /* The image that defragments where a policy names none, where that is not the program's own: in a registry, or by its digest. */}}
{{- define "edw.engineImage" -}}
{{- $registry := include "edw.engineRegistry" . }}
{{- if or $registry .Values.engineImage.digest }}
{{- $image := index .Chart.Annotations "etcd-defrag.io/engine-image" }}
{{- include "edw.onRegistry" (dict "image" $image "registry" (default (splitList "/" $image | first) $registry)) }}
{{- with .Values.engineImage.digest }}@{{ . }}{{ end }}
{{- end }}
{{- end }}

{{- define "edw.pullSecrets" -}}
{{- $names := list }}
{{- range concat .Values.global.imagePullSecrets .Values.imagePullSecrets }}
{{- $names = append $names (kindIs "string" . | ternary . (get (kindIs "string" . | ternary (dict) .) "name")) }}
{{- end }}
{{- with $names | uniq }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
