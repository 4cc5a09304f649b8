{{- define "lethe.name" -}}
{{- $name := ternary .Release.Name (printf "%s-lethe" .Release.Name) (contains .Chart.Name .Release.Name) -}}
{{- $name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "lethe.group" -}}
{{- default (include "lethe.name" .) .Values.group }}
{{- end }}

{{- define "lethe.selector" -}}
app.kubernetes.io/name: lethe
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lethe.labels" -}}
{{ include "lethe.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "lethe.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{- /* lethe.toml: the chart's own keys, then the operator's. */ -}}
{{- define "lethe.toml" -}}
{{- $own := dict "brokers" .Values.kafka.brokers "group" (include "lethe.group" .) "data_dir" "/var/lib/lethe" "http" "0.0.0.0:9644" -}}
{{- $_ := set $own "peers" (printf "%s%s-headless:9644" (ternary "https://" "" (ne .Values.api.tlsSecret "")) (include "lethe.name" .)) -}}
{{- if .Values.api.tlsSecret }}
{{- $_ := set $own "http_certificate" "/etc/lethe/api/tls.crt" }}{{ $_ := set $own "http_key" "/etc/lethe/api/tls.key" }}
{{- $_ := set $own "peers_ca" (printf "/etc/lethe/api/%s" .Values.api.tlsAuthority) }}
{{- end -}}
{{- if .Values.api.tokensSecret }}{{ $_ := set $own "http_tokens" "/etc/lethe/tokens/tokens.toml" }}{{ end -}}
{{- $all := mergeOverwrite (deepCopy .Values.config) $own -}}
{{- range $key, $value := $all }}{{ if not (kindIs "map" $value) }}
{{ $key }} = {{ toJson $value }}
{{- end }}{{ end }}
{{- range $key, $value := $all }}{{ if kindIs "map" $value }}

[{{ $key }}]
{{- range $name, $setting := $value }}
{{ $name }} = {{ toJson $setting }}
{{- end }}{{ end }}{{ end }}

[kafka]
{{- range $name, $value := .Values.kafka.properties }}
{{ toJson $name }} = {{ toJson (toString $value) }}
{{- end }}
{{ end }}

{{- /* How lethe's HTTP is asked. */ -}}
{{- define "lethe.scheme" -}}
{{- ternary "HTTPS" "HTTP" (ne .Values.api.tlsSecret "") }}
{{- end }}

{{- /* Whether a pod that stops leaves the group; empty: no. */ -}}
{{- define "lethe.drains" -}}
{{- if ternary .Values.autoscaling.enabled .Values.drainOnStop (kindIs "invalid" .Values.drainOnStop) }}yes{{ end }}
{{- end }}

{{- define "lethe.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "lethe.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
