told="$1"
alarm="$2"
echo "told $told; $alarm"
