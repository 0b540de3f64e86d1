{{- define "mooring.name" -}}
{{- .Values.fullnameOverride | default (printf "%s-operator" (.Release.Name | trunc 50 | trimSuffix "-")) -}}
{{- end -}}

{{/* What the operator's Pod is chosen by: never to be changed. */}}
{{- define "mooring.selector" -}}
app.kubernetes.io/name: mooring-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mooring.labels" -}}
{{ include "mooring.selector" . }}
app.kubernetes.io/part-of: mooring
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* An image's reference, of (list . .Values.images.hub). */}}
{{- define "mooring.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $root.Values.images.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $root.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{/* The namespaces that the operator looks after, each once, as a JSON list. */}}
{{- define "mooring.namespaces" -}}
{{- concat (list .Release.Namespace) .Values.watchNamespaces | uniq | sortAlpha | toJson -}}
{{- end -}}
